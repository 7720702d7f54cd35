// No validator: Swagger UI would use one on another host.
window.addEventListener("load", () => {
  SwaggerUIBundle({
    url: "openapi.json",
    dom_id: "#service",
    deepLinking: true,
    validatorUrl: null,
    tryItOutEnabled: true,
  });
});
