"""Declarative benchmarks of the operators against the strongest peers: cases, peers, one runner, one report."""
