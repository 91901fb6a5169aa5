"""A provider that speaks the OpenAI API and misbehaves on request.

It stands where a paid provider would: fast enough to be the upstream of a benchmark, honest enough for the official
SDKs, and able to fail in every way the relay has to survive. `python -m tests.simulator --help` lists the settings;
`PUT /behaviour` on the control port changes what it does while it runs. It imports nothing of the product.
"""
