/**
 * WASI preview 1 numbers errors in alphabetical order, the engine and PostgreSQL's words use
 * Linux's numbers. bindings/errno.ts has the same table with names; a test holds them together.
 */

/** Linux errno for a WASI one; EIO for a number WASI does not have. */
export function errnoOfWasi(wasi: i32): i32 {
  switch (wasi) {
    case 0: return 0; // success
    case 1: return 7; // 2big
    case 2: return 13; // acces
    case 3: return 98; // addrinuse
    case 4: return 99; // addrnotavail
    case 5: return 97; // afnosupport
    case 6: return 11; // again
    case 7: return 114; // already
    case 8: return 9; // badf
    case 9: return 74; // badmsg
    case 10: return 16; // busy
    case 11: return 125; // canceled
    case 12: return 10; // child
    case 13: return 103; // connaborted
    case 14: return 111; // connrefused
    case 15: return 104; // connreset
    case 16: return 35; // deadlk
    case 17: return 89; // destaddrreq
    case 18: return 33; // dom
    case 19: return 122; // dquot
    case 20: return 17; // exist
    case 21: return 14; // fault
    case 22: return 27; // fbig
    case 23: return 113; // hostunreach
    case 24: return 43; // idrm
    case 25: return 84; // ilseq
    case 26: return 115; // inprogress
    case 27: return 4; // intr
    case 28: return 22; // inval
    case 29: return 5; // io
    case 30: return 106; // isconn
    case 31: return 21; // isdir
    case 32: return 40; // loop
    case 33: return 24; // mfile
    case 34: return 31; // mlink
    case 35: return 90; // msgsize
    case 36: return 72; // multihop
    case 37: return 36; // nametoolong
    case 38: return 100; // netdown
    case 39: return 102; // netreset
    case 40: return 101; // netunreach
    case 41: return 23; // nfile
    case 42: return 105; // nobufs
    case 43: return 19; // nodev
    case 44: return 2; // noent
    case 45: return 8; // noexec
    case 46: return 37; // nolck
    case 47: return 67; // nolink
    case 48: return 12; // nomem
    case 49: return 42; // nomsg
    case 50: return 92; // noprotoopt
    case 51: return 28; // nospc
    case 52: return 38; // nosys
    case 53: return 107; // notconn
    case 54: return 20; // notdir
    case 55: return 39; // notempty
    case 56: return 131; // notrecoverable
    case 57: return 88; // notsock
    case 58: return 95; // notsup
    case 59: return 25; // notty
    case 60: return 6; // nxio
    case 61: return 75; // overflow
    case 62: return 130; // ownerdead
    case 63: return 1; // perm
    case 64: return 32; // pipe
    case 65: return 71; // proto
    case 66: return 93; // protonosupport
    case 67: return 91; // prototype
    case 68: return 34; // range
    case 69: return 30; // rofs
    case 70: return 29; // spipe
    case 71: return 3; // srch
    case 72: return 116; // stale
    case 73: return 110; // timedout
    case 74: return 26; // txtbsy
    case 75: return 18; // xdev
    case 76: return 13; // notcapable
    default: return 5;
  }
}
