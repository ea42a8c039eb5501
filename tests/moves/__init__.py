"""Clients move while others pay: no payment is lost or doubled."""
