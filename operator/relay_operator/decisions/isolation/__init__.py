"""The judgement whether the network keeps a tenant apart, and when it is to be measured again."""
