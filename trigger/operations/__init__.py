"""What the API can be asked, noun by noun."""
