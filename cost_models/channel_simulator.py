def simulate_channels(*a): raise NotImplementedError
