// Starts the vendored Swagger UI; nothing is loaded from another host.
window.addEventListener("DOMContentLoaded", () => {
  window.SwaggerUIBundle({
    url: document.getElementById("api-docs").dataset.url,
    dom_id: "#api-docs",
    deepLinking: true,
    validatorUrl: null,
    persistAuthorization: false,
  });
});
