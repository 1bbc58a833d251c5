// The numbers of cliplit/constants.py and of the modules in runtime/light that this folder follows, under their names.

export const LUMA_WEIGHTS = [0.2126, 0.7152, 0.0722]; // ITU-R BT.709
export const MAX_GAIN = 16;
export const GUIDE_RADIUS = 3; // of the guided filter, in proxy pixels
export const GUIDE_EPSILON = 2e-3; // of the guided filter: luma variance below which a window counts as flat
export const VISIBLE = 1 / 128; // of opaque: less of a proxy's pixel is not seen
export const LONGEST_SIDE = 1024; // of a proxy; bounds the cost of extreme panoramas
