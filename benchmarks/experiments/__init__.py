"""Training experiments: what adversarial coresets buy, against every control, at measured cost."""
