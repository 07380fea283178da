/** What the thread of a verification's job starts from; the rest is a part of its own. */
import { loadPart } from './program-part.ts';

loadPart('job');
