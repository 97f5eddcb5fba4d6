"""Sending webhooks as Standard Webhooks has it; knows neither database nor web framework."""
