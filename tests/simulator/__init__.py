"""A provider with the OpenAI API that misbehaves on request.

It takes the place of a paid provider: fast enough to be the upstream of a benchmark, correct enough for the official
SDKs, and able to fail in every way the relay has to survive. `python -m tests.simulator --help` lists the settings;
`PUT /behaviour` on the control port changes what it does while it runs. It imports nothing of the product.
"""
