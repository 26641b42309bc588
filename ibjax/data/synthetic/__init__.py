"""Tasks that know their exact information quantities, in nats."""
