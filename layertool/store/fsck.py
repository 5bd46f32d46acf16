"""fsck: every blob against its digest, every layer against its index, every image against both.

Damage is mended from what is here: a layer is unpacked again from its blob. What cannot be mended
is dropped with all that needs it, so that a pull or an import brings it back.
"""

from __future__ import annotations

import os
from itertools import groupby

from layertool.errors import LayertoolError, StoreError
from layertool.oci.digest import Digest
from layertool.oci.model import Descriptor
from layertool.store import blobs
from layertool.store.database import Database
from layertool.store.layers import Layers
from layertool.store.layout import Layout
from layertool.store.locks import Scratch, discard_if_free, locked
from layertool.store.records import Problem
from layertool.store.soundness import damage

_AGAIN = "pull or import its image again"


class Fsck:
    """One check of one store; with `repair` damage is mended or dropped."""

    def __init__(
        self,
        layout: Layout,
        database: Database,
        scratch: Scratch,
        layers: Layers,
        *,
        repair: bool,
    ) -> None:
        self._layout = layout
        self._database = database
        self._scratch = scratch
        self._layers = layers
        self._repair = repair
        self._problems: list[Problem] = []
        self._damaged: set[str] = set()

    def run(self) -> list[Problem]:
        """All problems, each with what was done about it."""
        if self._repair:
            self._clean_locks()
        for row in self._database.query("SELECT digest, size FROM blobs ORDER BY digest"):
            self._check_blob(Digest(row["digest"]), row["size"])
        for row in self._database.query("SELECT diff_id FROM layers ORDER BY diff_id"):
            self._check_layer(Digest(row["diff_id"]))
        for row in self._database.query("SELECT digest, id FROM images ORDER BY digest"):
            self._check_image(row["digest"], row["id"])
        if self._repair:
            self._forget_lost_layers()
            self._settle_layers()
        return self._problems

    def _found(self, subject: str, digest: str, what: str, repaired: str) -> None:
        self._damaged.add(digest)
        self._problems.append(Problem(f"{subject} {digest}", what, repaired))

    def _clean_locks(self) -> None:
        for path in self._layout.lock("").iterdir():
            if path.name != "store":
                discard_if_free(path)

    # -- blobs

    def _check_blob(self, digest: Digest, size: int) -> None:
        what = self._blob_damage(digest, size)
        if what is None or not self._is_still("blobs", "digest", digest):
            return
        if self._repair:
            with locked(self._layout.lock("store")), self._database.transaction() as connection:
                connection.execute("DELETE FROM blobs WHERE digest = ?", (digest,))
                self._layout.blob(digest).unlink(missing_ok=True)
        self._found("blob", digest, what, f"removed; {_AGAIN}" if self._repair else "")

    def _blob_damage(self, digest: Digest, size: int) -> str | None:
        path = self._layout.blob(digest)
        try:
            actual = os.stat(path).st_size
            if actual != size:
                return f"{actual} bytes, expected {size}"
            if blobs.digest_of_file(path) != digest:
                return "content does not match the digest"
        except FileNotFoundError:
            return "missing"
        except OSError as error:
            return error.strerror
        return None

    def _is_still(self, table: str, column: str, digest: Digest) -> bool:
        """Whether the row is there yet: gc may have taken it since it was read."""
        return bool(self._database.query(f"SELECT 1 FROM {table} WHERE {column} = ?", (digest,)))

    # -- layers

    def _check_layer(self, diff_id: Digest) -> None:
        try:
            what = damage(self._layout.layer(diff_id) / "diff", self._layers.index(diff_id))
        except PermissionError as error:
            raise StoreError(
                f"layer {diff_id}: {error.filename}: {error.strerror}: it can only be checked by"
                " root, or where user namespaces are allowed (see layertool doctor)"
            ) from None
        except LayertoolError as error:
            what = str(error)
        except OSError as error:
            what = error.strerror or str(error)
        if what is None or not self._is_still("layers", "diff_id", diff_id):
            return
        self._found("layer", diff_id, what, self._mend_layer(diff_id) if self._repair else "")

    def _mend_layer(self, diff_id: Digest) -> str:
        """Unpack the layer again from a blob that is here."""
        with self._scratch.workspace("damaged") as room, locked(self._layout.lock("store")):
            target = self._layout.layer(diff_id)
            if target.exists():
                os.rename(target, room / "layer")
        rows = self._database.query(
            "SELECT layer_blobs.digest, media_type, layer_blobs.size FROM layer_blobs "
            "JOIN blobs USING (digest) WHERE diff_id = ?",
            (diff_id,),
        )
        for row in rows:
            descriptor = Descriptor(
                mediaType=row["media_type"], digest=Digest(row["digest"]), size=row["size"]
            )
            try:
                path = self._layout.blob(descriptor.digest)
                with blobs.open_blob(path, descriptor.digest) as file:
                    self._layers.put(file, descriptor, diff_id, keep_blob=False, limits=None)
            except LayertoolError:
                continue
            return "unpacked again"
        return f"removed; {_AGAIN}"

    def _forget_lost_layers(self) -> None:
        """Take the rows of layers that could not be mended, unless a container's image has them."""
        for digest in self._damaged:
            if not self._database.query("SELECT 1 FROM layers WHERE diff_id = ?", (digest,)):
                continue
            if self._is_unpacked(Digest(digest)):
                continue
            with self._database.transaction() as connection:
                connection.execute("DELETE FROM cache WHERE diff_id = ?", (digest,))
                connection.execute(
                    "DELETE FROM layers WHERE diff_id = ?1 AND NOT EXISTS "
                    "(SELECT 1 FROM image_layers WHERE diff_id = ?1)",
                    (digest,),
                )

    def _settle_layers(self) -> None:
        """What was unpacked again takes after the layers below, as when its image was stored."""
        rows = self._database.query(
            "SELECT image, diff_id FROM image_layers JOIN images ON images.digest = image "
            "WHERE image IN (SELECT image FROM image_layers JOIN implicit USING (diff_id)) "
            "ORDER BY added, image, position"
        )
        for _, layers in groupby(rows, key=lambda row: str(row["image"])):
            diff_ids = [Digest(row["diff_id"]) for row in layers]
            if all(map(self._is_unpacked, diff_ids)):  # a container may keep one that lacks some
                self._layers.settle(diff_ids)

    def _is_unpacked(self, diff_id: Digest) -> bool:
        return (self._layout.layer(diff_id) / "diff").is_dir()

    # -- images

    def _check_image(self, digest: str, identifier: str) -> None:
        """Images whose content is incomplete; what was reported already is not said twice."""
        lacking = [
            part for part in (digest, identifier) if not self._layout.blob(Digest(part)).exists()
        ]
        lacking += [
            row["diff_id"]
            for row in self._database.query(
                "SELECT diff_id FROM image_layers WHERE image = ? ORDER BY position", (digest,)
            )
            if not self._is_unpacked(Digest(row["diff_id"]))
        ]
        if not self._repair:
            lacking = [part for part in lacking if part not in self._damaged]
        if lacking:
            done = self._drop_image(digest) if self._repair else ""
            self._found("image", digest, f"lacks {lacking[0]}", done)

    def _drop_image(self, digest: str) -> str:
        with self._database.transaction() as connection:
            if connection.execute("SELECT 1 FROM containers WHERE image = ?", (digest,)).fetchone():
                return ""
            connection.execute("DELETE FROM names WHERE image = ?", (digest,))
            connection.execute("DELETE FROM images WHERE digest = ?", (digest,))
        return "removed; pull or import it again"
