"""Print the scalars that TensorBoard finds in a run folder as JSON: values by name and step."""
import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

accumulator = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
accumulator.Reload()
scalars = {}
for tag in accumulator.Tags()["scalars"]:
    events = accumulator.Scalars(tag)
    scalars[tag] = {str(event.step): event.value for event in events}
    assert len(scalars[tag]) == len(events), f"{tag}: a step is there twice"
    times = [event.wall_time for event in events]
    assert times == sorted(times), f"{tag}: time goes backwards"
json.dump(scalars, sys.stdout)
