/**
 * Method SYNC: every I/O is executed by its issuer inside start, over WASI (method_sync.c). Nothing
 * is ever staged, so submit is not reached by a healthy engine.
 */
import { E_SYNC_SUBMIT, fail } from "../errors";
import { stateOf } from "../aio/handle";
import { handleAt } from "../shm/layout";

export function syncSubmit(ids: usize): i32 {
  const id = load<u32>(ids);
  return fail(E_SYNC_SUBMIT, id, stateOf(handleAt(id)));
}
