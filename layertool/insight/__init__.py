"""Questions about images, answered from the index that every layer got when it was unpacked.

No tree is walked: `steps` (how an image was made), `content` (what its layers hold, hide and
repeat, who touched a path, how two images differ).
"""
