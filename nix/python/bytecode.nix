# Byte code for the Python files of trees, as a tree to lay beside them: the image's root may be read-only, and without it
# each start of a pod would compile thousands of files again.
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
