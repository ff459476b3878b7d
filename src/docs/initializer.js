// The bundle alone has no bar of its own above the document.
SwaggerUIBundle({
  url: "../openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  // The list of all schemas is long, and stays folded.
  defaultModelsExpandDepth: 0,
  // Nothing is sent to the validator of somebody else.
  validatorUrl: null,
});
