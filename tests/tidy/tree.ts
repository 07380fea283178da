/** The project's files: what git knows or would add, without what is built and installed. */
import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, readFileSync } from 'node:fs';

/** Git run in the project's folder, whoever owns that; the given lines of its output. */
export function git(...arguments_: string[]): string[] {
  const output = execFileSync('git', ['-c', 'safe.directory=*', ...arguments_], {
    encoding: 'utf8',
    maxBuffer: 64 << 20,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return output.split(/[\n\0]/).filter((line) => line !== '');
}

/** Text of every file by path, in alphabetical order. Not a text file: empty. */
export function readTree(): Map<string, string> {
  const paths = git('ls-files', '-z', '--cached', '--others', '--exclude-standard');
  const files = new Map<string, string>();
  for (const path of [...new Set(paths)].sort()) {
    if (!existsSync(path) || lstatSync(path).isDirectory()) continue;
    const content = readFileSync(path);
    files.set(path, content.includes(0) ? '' : content.toString());
  }
  return files;
}

/** Files with an executable bit. */
export function executables(paths: Iterable<string>): string[] {
  return [...paths].filter((path) => (lstatSync(path).mode & 0o111) !== 0);
}

/** `path, N KiB` for each blob over the limit in the whole history and in the tree. */
export function largeBlobs(paths: Iterable<string>, maxBytes: number): string[] {
  const large = new Set<string>();
  const note = (path: string, bytes: number) => {
    if (bytes > maxBytes) large.add(`${path}, ${Math.ceil(bytes / 1024)} KiB`);
  };
  for (const path of paths) note(path, lstatSync(path).size);
  const objects = git('rev-list', '--objects', '--all');
  const names = new Map(objects.map((line) => [line.slice(0, 40), line.slice(41)]));
  if (names.size === 0) return [...large];
  const answer = execFileSync('git', ['-c', 'safe.directory=*', 'cat-file', '--batch-check'], {
    encoding: 'utf8',
    input: `${[...names.keys()].join('\n')}\n`,
    maxBuffer: 64 << 20,
  });
  for (const line of answer.split('\n')) {
    const [id, type, bytes] = line.split(' ');
    if (type === 'blob') note(names.get(id ?? '') ?? '', Number(bytes));
  }
  return [...large];
}
