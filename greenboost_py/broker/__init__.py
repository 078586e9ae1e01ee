"""Host memory is leased here: the rule, the messages and the socket."""
