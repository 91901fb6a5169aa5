"""Postings: what an attempt cost the platform and what its tenant pays for it, decided from records and prices alone."""
