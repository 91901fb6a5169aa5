"""What tools around the operator make of its objects, by their own code: kstatus (Flux, helm) and the Lua of Argo CD."""
