"""The embedded stack: S3, MLflow, the API and Airflow as plain processes, without containers."""
