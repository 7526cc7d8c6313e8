# Byte code for the Python files of trees, as a tree that is added to the image next to them. The image's root may be
# read-only: without the byte code each start of a pod would compile thousands of files again.
{ runInRootfs }:
/**
  Type: mkBytecode :: { name, trees } -> Derivation
*/
{ name, trees }:
runInRootfs {
  name = "bytecode-${name}";
  script = "python3 ${./bytecode.py}";
  env.sources = trees;
}
