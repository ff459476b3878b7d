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
  // The page asks for the security schemes before it paints anything, and to resolve a part reads the whole document, which
  // takes more than a second. A part without references is resolved as it stands; an operation is read when it is opened.
  plugins: [() => ({
    statePlugins: { spec: { wrapActions: {
      requestResolvedSubtree: (resolve, { specActions, specSelectors }) => (path) => {
        const part = specSelectors.specJson().getIn(path);
        if (part === undefined) return;
        const refers = JSON.stringify(part).includes('"$ref"');
        return refers ? resolve(path) : specActions.updateResolvedSubtree(path, part);
      },
    } } },
  })],
});
