/**
 * Resource owners, as far as I/O goes (resowner.c: ResourceOwnerRememberAioHandle and its kin,
 * pgaio_io_release_resowner). An owner collects the handles of one unit of work; releasing it
 * gives back what was never started, submits what was staged, and forgets where results of the
 * rest were to go. It never waits and never cancels: an I/O outlives its owner.
 */
import {
  E_BAD_RESOWNER, E_NO_BACKEND, E_RESOWNER_BUSY, E_RESOWNER_FULL, E_RESOWNER_IDLE, OK, fail,
} from "../errors";
import { handleAt, handleId, resowners_at } from "../shm/layout";
import { RESOWNER_BYTES } from "../shm/sizes";
import { my_backend, my_procno } from "./backend";
import { checkMayAct } from "./check";
import { PgAioHandle, reclaim, stateOf } from "./handle";
import { submitStaged } from "./io";
import { report } from "./report";
import {
  NONE, PGAIO_HS_DEFINED, PGAIO_HS_HANDED_OUT, PGAIO_HS_IDLE, PGAIO_HS_STAGED,
  REPORT_LEAKED_HANDLE, REPORT_NOT_SUBMITTED, RESOURCE_OWNERS, WARNING,
} from "./types";

@unmanaged export class ResourceOwner {
  in_use: u32; //   0  1 between ResourceOwnerCreate and ResourceOwnerDelete
  parent: u32; //   4  address of the owner above, or 0
  io_head: i32; //  8  handles, oldest first
  io_tail: i32; // 12
  io_count: u32; // 16
}
if (offsetof<ResourceOwner>() > RESOWNER_BYTES) ERROR("ResourceOwner outgrew its place");

@inline function ownersOf(procno: i32): usize {
  return resowners_at + <usize>procno * RESOURCE_OWNERS * RESOWNER_BYTES;
}
@inline function ownerAt(index: u32): ResourceOwner {
  return changetype<ResourceOwner>(ownersOf(my_procno) + <usize>index * RESOWNER_BYTES);
}

/** Whether `at` is a resource owner of this backend that is in use. */
export function checkResourceOwner(at: u32): i32 {
  if (my_procno == NONE) return fail(E_NO_BACKEND);
  const from = <usize>at - ownersOf(my_procno);
  const known = from < RESOURCE_OWNERS * RESOWNER_BYTES && from % RESOWNER_BYTES == 0
    && changetype<ResourceOwner>(at).in_use == 1;
  return known ? OK : fail(E_BAD_RESOWNER, NONE, 0, at);
}

/** A new owner, under `parent` or 0. There are RESOURCE_OWNERS per backend. */
export function ResourceOwnerCreate(parent: u32): f64 {
  if (my_procno == NONE) return fail(E_NO_BACKEND);
  if (parent != 0) {
    const rc = checkResourceOwner(parent);
    if (rc < 0) return rc;
  }
  for (let index: u32 = 0; index < RESOURCE_OWNERS; index++) {
    const owner = ownerAt(index);
    if (owner.in_use == 1) continue;
    owner.in_use = 1;
    owner.parent = parent;
    owner.io_head = NONE;
    owner.io_tail = NONE;
    owner.io_count = 0;
    return <f64>changetype<usize>(owner);
  }
  return fail(E_RESOWNER_FULL, NONE, 0, RESOURCE_OWNERS);
}

/**
 * Releases what `at` and the owners below it hold, children first. On commit what was left behind
 * is warned about (leaked AIO handle, AIO handle was not submitted); after an error that is normal.
 */
export function ResourceOwnerRelease(at: u32, is_commit: u32): i32 {
  let rc = checkMayAct();
  if (rc < 0) return rc;
  rc = checkResourceOwner(at);
  if (rc < 0) return rc;
  return releaseTree(changetype<ResourceOwner>(at), is_commit != 0);
}

/** Depth is bounded: a child is made after its parent and deleted before it, 64 in all. */
function releaseTree(owner: ResourceOwner, is_commit: bool): i32 {
  assert(owner.in_use == 1);
  for (let index: u32 = 0; index < RESOURCE_OWNERS; index++) {
    const child = ownerAt(index);
    if (child.in_use == 0 || child.parent != <u32>changetype<usize>(owner)) continue;
    const rc = releaseTree(child, is_commit);
    if (rc < 0) return rc;
  }
  while (owner.io_head != NONE) { // each round takes one handle off the list
    const rc = releaseIo(handleAt(owner.io_head), is_commit);
    if (rc < 0) return rc;
  }
  assert(owner.io_count == 0);
  return OK;
}

/** pgaio_io_release_resowner: what becomes of one handle depends on how far it got. */
function releaseIo(ioh: PgAioHandle, is_commit: bool): i32 {
  const id = handleId(ioh);
  const state = stateOf(ioh);
  forgetIo(ioh);
  if (state == PGAIO_HS_IDLE) return fail(E_RESOWNER_IDLE, id, state);
  if (state == PGAIO_HS_HANDED_OUT) {
    if (<i32>id == my_backend.handed_out_io) my_backend.handed_out_io = NONE;
    if (is_commit) report(WARNING, REPORT_LEAKED_HANDLE, ioh);
    reclaim(ioh, state);
    return OK;
  }
  ioh.report_return = 0;
  if (state != PGAIO_HS_DEFINED && state != PGAIO_HS_STAGED) return OK; // runs on, nobody is told
  if (is_commit) report(WARNING, REPORT_NOT_SUBMITTED, ioh);
  return submitStaged();
}

/** Ends an owner that holds nothing any more. */
export function ResourceOwnerDelete(at: u32): i32 {
  const rc = checkResourceOwner(at);
  if (rc < 0) return rc;
  const owner = changetype<ResourceOwner>(at);
  if (owner.io_count != 0) {
    const head = owner.io_head;
    return fail(E_RESOWNER_BUSY, head, stateOf(handleAt(head)), owner.io_count);
  }
  for (let index: u32 = 0; index < RESOURCE_OWNERS; index++) {
    const child = ownerAt(index);
    if (child.in_use == 1 && child.parent == at) return fail(E_RESOWNER_BUSY, NONE, 0, 0, 1);
  }
  owner.in_use = 0;
  return OK;
}

/** Appends a handle to its owner's list. */
export function rememberIo(at: u32, ioh: PgAioHandle): void {
  assert(ioh.resowner == 0);
  const owner = changetype<ResourceOwner>(at);
  const id = handleId(ioh);
  ioh.resowner = at;
  ioh.resowner_prev = owner.io_tail;
  ioh.resowner_next = NONE;
  if (owner.io_tail == NONE) owner.io_head = id;
  else handleAt(owner.io_tail).resowner_next = id;
  owner.io_tail = id;
  owner.io_count++;
}

/** Takes a handle off its owner's list. */
export function forgetIo(ioh: PgAioHandle): void {
  assert(ioh.resowner != 0);
  const owner = changetype<ResourceOwner>(ioh.resowner);
  const prev = ioh.resowner_prev;
  const next = ioh.resowner_next;
  if (prev == NONE) owner.io_head = next;
  else handleAt(prev).resowner_next = next;
  if (next == NONE) owner.io_tail = prev;
  else handleAt(next).resowner_prev = prev;
  owner.io_count--;
  ioh.resowner = 0;
}

/** All owners of a backend end with it; no handle is left to remember them. */
export function dropOwnersOf(procno: i32): void {
  assert(procno >= 0);
  for (let index: u32 = 0; index < RESOURCE_OWNERS; index++) {
    changetype<ResourceOwner>(ownersOf(procno) + <usize>index * RESOWNER_BYTES).in_use = 0;
  }
}
