"""What Prometheus reads at `/metrics`: counters and histograms of all processes of a machine, figures of the database.

Whoever knows of an event owns its metric, and records it with one call. Nothing is recorded, and prometheus_client is
not imported, without METRICS_TOKEN.
"""
