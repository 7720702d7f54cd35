"""Pages that the API server shows beside those of Airflow; plugins/ registers them."""
