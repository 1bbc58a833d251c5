// Picture files: what is read of them, and in one line why not.

/** Raised with a line for the visitor. */
export class FileError extends Error {}

/**
 * Decode a file, upright.
 * @param {Blob} file
 * @param {string} name
 * @param {number} longest side that can be drawn
 * @returns {Promise<{bitmap: ImageBitmap, notes: string[]}>}
 */
export async function decode(file, name, longest) {
  if (file.size === 0) throw new FileError(`${name}: an empty file`);
  let bitmap;
  try {
    // Profiles are converted to the page's colours, sRGB; orientation is applied, alpha left as it is.
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image", premultiplyAlpha: "none" });
  } catch {
    const video = file.type.startsWith("video/");
    throw new FileError(
      video
        ? `${name}: a video; the page takes pictures, cliplit-video takes clips`
        : `${name}: damaged, or no picture that this browser reads (JPEG, PNG, WebP, AVIF)`,
    );
  }
  const { width, height } = bitmap;
  if (Math.max(width, height) > longest) {
    bitmap.close();
    throw new FileError(`${name}: ${width} × ${height} pixels; this browser draws up to ${longest} a side, cliplit-image more`);
  }
  const head = new DataView(await file.slice(0, 26).arrayBuffer());
  const deep = head.byteLength === 26 && head.getUint32(0) === 0x89504e47 && head.getUint8(24) === 16;
  return { bitmap, notes: deep ? ["16 bits a channel became 8; cliplit-image keeps them"] : [] };
}

/**
 * Make the name under which a relighted picture is saved.
 * @param {string} name of the file it came from
 * @param {"png" | "jpeg"} format
 */
export function savedName(name, format) {
  return `${name.replace(/\.[^.]*$/, "") || "picture"}.relit.${format === "jpeg" ? "jpg" : "png"}`;
}
