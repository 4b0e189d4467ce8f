"""The application as its user holds it: `Rota` and the objects it hands out."""
