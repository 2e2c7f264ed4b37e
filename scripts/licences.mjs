// Every crate that the build uses has a licence that Apache-2.0 software may include.
import { Failure, output } from './shell.mjs';

const allowed = new Set([
  '0BSD', 'Apache-2.0', 'Apache-2.0 WITH LLVM-exception', 'BSD-2-Clause', 'BSD-3-Clause', 'BSL-1.0', 'CC0-1.0',
  'ISC', 'MIT', 'MIT-0', 'Unicode-3.0', 'Unlicense', 'Zlib',
]);

/** Throws a Failure that names each crate of a manifest whose licence is not allowed. */
export async function checkLicences(manifest) {
  const metadata = await output('cargo', ['metadata', '--locked', '--format-version', '1', '--manifest-path', manifest]);
  if (metadata === undefined) throw new Failure(`cargo metadata failed for ${manifest}: is its Cargo.lock up to date?`);
  const { packages } = JSON.parse(metadata);
  const refused = packages.filter(({ source, license }) => source !== null && !(license && isAllowed(license)));
  if (refused.length > 0) {
    throw new Failure(`licences not on the list:\n${refused.map(({ name, version, license }) => `  ${name} ${version}: ${license}`).join('\n')}`);
  }
  console.log(`${packages.length} crates of ${manifest}: all licences allowed`);
}

/** Whether an SPDX expression leaves an allowed choice; the old "A/B" means "A OR B". */
export function isAllowed(expression) {
  const words = expression.replaceAll('/', ' OR ').match(/\(|\)|[^\s()]+/g);
  let at = 0;
  const either = () => {
    let result = both();
    while (words[at] === 'OR') {
      at += 1;
      result = both() || result;
    }
    return result;
  };
  const both = () => {
    let result = one();
    while (words[at] === 'AND') {
      at += 1;
      result = one() && result;
    }
    return result;
  };
  const one = () => {
    if (words[at] === '(') {
      at += 1;
      const result = either();
      at += 1;
      return result;
    }
    let name = words[at++];
    if (words[at] === 'WITH') name += ` WITH ${words[(at += 2) - 1]}`;
    return allowed.has(name);
  };
  return either();
}
