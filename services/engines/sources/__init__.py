"""Where model files come from: hubs over HTTP, and wheels through pip."""
