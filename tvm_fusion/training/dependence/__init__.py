"""Where a layer's G comes from: how much each tap of its window depends on the centre, or what somebody says."""
