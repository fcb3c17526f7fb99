"""Published turns with listeners: run by the process that accepted them, followed in any."""
