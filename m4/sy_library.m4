# SPDX-License-Identifier: Apache-2.0
# sy_library.m4 - how one library is looked for: --with-X[=DIR], pkg-config, then a plain probe

# SY_LIBRARY(NAME, VAR, MODULE, FLOOR, HEADER, LIB, FUNCTION, PACKAGE, required | optional, [PROLOGUE])
# NAME names the option, MODULE the pkg-config file, FLOOR the lowest version, LIB and FUNCTION the probe, PACKAGE what
# Debian calls it, PROLOGUE lines that must stand before the header. Sets VAR_CPPFLAGS, VAR_LDFLAGS, VAR_LIBS,
# sy_have_NAME (yes or no) and sy_version_NAME.
#
# A DIR is looked into alone, so that a typing error never falls back on the system's copy. An optional library that
# nobody asked for may be absent; everything else that fails is an error which says what would mend it.
AC_DEFUN([SY_LIBRARY], [
AC_REQUIRE([PKG_PROG_PKG_CONFIG])
AC_ARG_WITH([$1],
  [AS_HELP_STRING([--with-$1@<:@=DIR@:>@],
    m4_if([$9], [required], [[use $1 (needed) from DIR instead of the system's]],
      [[use $1 from DIR or the system; default: if it is there]]))],
  [], [with_$1=auto])
sy_required=m4_if([$9], [required], [yes], [no])
sy_have_$1=no
sy_version_$1=
$2_CPPFLAGS=
$2_LDFLAGS=
$2_LIBS=
AS_IF([test "x$sy_required$with_$1" = xyesno],
  [AC_MSG_ERROR([switchyard cannot be built without $1: leave out --without-$1])])
AS_IF([test "x$with_$1" != xno], [
  AC_MSG_CHECKING([for $1 >= $4])
  sy_pc_path=$PKG_CONFIG_PATH
  AS_CASE([$with_$1],
    [yes|auto], [
      sy_where="pkg-config module $3 >= $4, then header $5 and library $6 in the compiler's own folders"
      sy_probe=yes
      $2_LIBS=-l$6],
    [
      sy_where="$3.pc in $with_$1/{lib,lib64,share}/pkgconfig, then include/$5 and {lib,lib64}/lib$6 in $with_$1"
      sy_probe=no
      sy_pc_path=
      # Debian's own folder is lib/x86_64-linux-gnu or the like.
      sy_multiarch=`$CC -print-multiarch 2>/dev/null`
      for sy_dir in "$with_$1/share" "$with_$1/lib64" "$with_$1/lib/$sy_multiarch" "$with_$1/lib"; do
        AS_IF([test -f "$sy_dir/pkgconfig/$3.pc"], [sy_pc_path="$sy_dir/pkgconfig:"; sy_probe=yes])
        AS_IF([ls "$sy_dir/lib$6".* >/dev/null 2>&1],
          [sy_probe=yes; $2_LDFLAGS="-L$sy_dir -Wl,-rpath,$sy_dir"])
      done
      AS_IF([test -n "$sy_pc_path"], [sy_pc_path="$sy_pc_path$PKG_CONFIG_PATH"], [sy_pc_path=none])
      $2_CPPFLAGS="-I$with_$1/include"
      $2_LIBS=-l$6])
  AS_IF([test "x$sy_probe" = xyes && test "x$sy_pc_path" != xnone && test -n "$PKG_CONFIG" &&
         PKG_CONFIG_PATH=$sy_pc_path "$PKG_CONFIG" --exists $3], [
    sy_version_$1=`PKG_CONFIG_PATH=$sy_pc_path "$PKG_CONFIG" --modversion $3`
    AS_IF([PKG_CONFIG_PATH=$sy_pc_path "$PKG_CONFIG" --atleast-version=$4 $3], [
      $2_CPPFLAGS=`PKG_CONFIG_PATH=$sy_pc_path "$PKG_CONFIG" --cflags $3`
      $2_LIBS=`PKG_CONFIG_PATH=$sy_pc_path "$PKG_CONFIG" --libs $3`
    ], [sy_probe=no])
  ])
  AS_IF([test "x$sy_probe" = xyes], [
    sy_save_CPPFLAGS=$CPPFLAGS
    sy_save_LDFLAGS=$LDFLAGS
    sy_save_LIBS=$LIBS
    CPPFLAGS="$CPPFLAGS $$2_CPPFLAGS"
    LDFLAGS="$LDFLAGS $$2_LDFLAGS"
    LIBS="$$2_LIBS $LIBS"
    AC_LINK_IFELSE([AC_LANG_PROGRAM([[$10
#include <$5>]], [[return (void *)$7 == (void *)0;]])], [sy_have_$1=yes])
    CPPFLAGS=$sy_save_CPPFLAGS
    LDFLAGS=$sy_save_LDFLAGS
    LIBS=$sy_save_LIBS
  ])
  AC_MSG_RESULT([$sy_have_$1${sy_version_$1:+ ($sy_version_$1)}])
  AS_IF([test "x$sy_have_$1" = xno], [
    $2_CPPFLAGS=
    $2_LDFLAGS=
    $2_LIBS=
    AS_IF([test "x$sy_required" = xyes || test "x$with_$1" != xauto], [
      AC_MSG_ERROR([$1 was not found${sy_version_$1:+ (there is a version $sy_version_$1)}.
  looked for: $sy_where
  to mend it: install the package $8 (Debian, Ubuntu), or say where it is with --with-$1=DIR[]m4_if([$9],
    [required], [], [[, or leave --with-$1 out]])])
    ])
  ])
])
AC_SUBST([$2_CPPFLAGS])
AC_SUBST([$2_LDFLAGS])
AC_SUBST([$2_LIBS])
])
