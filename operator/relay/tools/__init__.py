"""Messages of the Model Context Protocol: reads them strictly, and decides which pass between a tenant and a tool server."""
