"""What messages hold, in its three shapes: stored blocks, the wire's, and Converse's."""
