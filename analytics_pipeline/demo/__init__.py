"""The demo product that `analytics-pipeline demo` and `dev` load into the embedded engines."""

from analytics_pipeline.demo.load import DemoRefusedError, DemoSummary, load_demo_product
from analytics_pipeline.demo.product import DemoProduct, demo_product

__all__ = ["DemoProduct", "DemoRefusedError", "DemoSummary", "demo_product", "load_demo_product"]
