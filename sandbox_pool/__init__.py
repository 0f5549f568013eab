"""Containers and kernels: a spec enters, warm sandboxes that run code and stream its output leave."""
