"""Complete systems built on rota's public names only."""
