"""Other programs' doors to the runtime: GIMP, frei0r (ffmpeg, melt, GStreamer), y4m pipes, VapourSynth."""
