"""Basics that depend on nothing else in the application: time, randomness, hashing, encryption, a cache, JSON, URLs.

Imports only `errors`.
"""
