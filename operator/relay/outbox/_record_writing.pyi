# the class in C is used as that in Python is
from relay.outbox.record_writing_pure import Place as Place
