"""The command of the plugin."""

import typer

app = typer.Typer()


@app.command()
def greet(name: str) -> None:
    """Greet somebody."""
    print(f"hello {name}")
