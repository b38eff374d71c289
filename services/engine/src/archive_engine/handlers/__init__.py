"""Jobs come off the lane, answers go to whoever waits for them."""
