"""The endpoints: each translates HTTP to a call of one topic, and its result back."""
