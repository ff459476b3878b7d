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
  // The page asks for the security schemes before it paints anything, and to look for them reads the whole document,
  // which takes most of a second. There are none; an operation is read when it is opened.
  plugins: [() => ({
    statePlugins: { spec: { wrapActions: {
      requestResolvedSubtree: (resolve, { specSelectors }) => (path) => {
        if (specSelectors.specJson().hasIn(path)) resolve(path);
      },
    } } },
  })],
});
