"""XMP packets: the halves that JPEG splits large ones into, and what speaks of a gain map that is no longer there."""

from __future__ import annotations

import hashlib
from xml.dom import minidom
from xml.parsers.expat import ExpatError

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
NOTE = "http://ns.adobe.com/xmp/note/"
GAIN_MAP = (
    "http://ns.adobe.com/hdr-gain-map/1.0/",
    "http://ns.google.com/photos/1.0/container/",
    "http://ns.google.com/photos/1.0/container/item/",
    "http://ns.apple.com/HDRGainMap/1.0/",
    "http://ns.google.com/photos/1.0/camera/",  # motion photos: where in the file the clip begins
)
SHORT_PACKET = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{rdf}"><rdf:Description rdf:about=""'
    ' xmlns:xmpNote="{note}" xmpNote:HasExtendedXMP="{guid}"/></rdf:RDF></x:xmpmeta>'
)


def halves(packet: bytes) -> tuple[bytes, bytes, bytes]:
    """Split a packet too large for one segment: a short one, the rest, and the digest that ties them (XMP part 3)."""
    start = packet.find(b"<x:xmpmeta")
    end = packet.rfind(b"</x:xmpmeta>")
    rest = packet[start : end + len(b"</x:xmpmeta>")] if 0 <= start < end else packet
    guid = hashlib.md5(rest, usedforsecurity=False).hexdigest().upper()
    return SHORT_PACKET.format(rdf=RDF, note=NOTE, guid=guid).encode(), rest, guid.encode()


def merged(packet: bytes, rest: bytes) -> bytes:
    """Join the halves again. Raises ValueError for what is no XML."""
    first, second = _parsed(packet), _parsed(rest)
    into, other = (document.getElementsByTagNameNS(RDF, "RDF") for document in (first, second))
    if not into or not other:
        raise ValueError("an XMP packet without RDF")
    for description in list(into[0].getElementsByTagNameNS(RDF, "Description")):
        if description.hasAttributeNS(NOTE, "HasExtendedXMP"):
            description.removeAttributeNS(NOTE, "HasExtendedXMP")
    for child in list(other[0].childNodes):
        into[0].appendChild(first.importNode(child, True))
    for name, value in list(other[0].attributes.items()):
        if name.startswith("xmlns:") and not into[0].hasAttribute(name):
            into[0].setAttribute(name, value)
    return _text(first)


def without_gain_map(packet: bytes) -> tuple[bytes, bool]:
    """Take out what says that a gain map or a clip follows the picture; return whether something did.

    Raises ValueError for what is no XML.
    """
    if not any(name.encode() in packet for name in GAIN_MAP):
        return packet, False
    document = _parsed(packet)
    for element in list(document.getElementsByTagName("*")):
        if element.namespaceURI in GAIN_MAP and element.parentNode is not None:
            element.parentNode.removeChild(element)
            continue
        for attribute in list((element.attributes or {}).values()):
            if attribute.namespaceURI in GAIN_MAP or attribute.value in GAIN_MAP:
                element.removeAttributeNode(attribute)
    return _text(document), True


def _text(document: minidom.Document) -> bytes:
    root = document.documentElement
    return root.toxml().encode() if root else b""


def _parsed(packet: bytes) -> minidom.Document:
    try:
        return minidom.parseString(packet.strip().rstrip(b"\0"))
    except (ExpatError, ValueError, LookupError) as error:
        raise ValueError(f"an XMP packet that is no XML ({error})") from error
