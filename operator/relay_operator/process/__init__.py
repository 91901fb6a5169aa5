"""The process: its lives one after the other, each from standby to the loss of the lead, and what all of them share."""
