"""Additional pages of the API server. plugins/ registers them."""
