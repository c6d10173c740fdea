"""The recognisers behind the Engine port."""
