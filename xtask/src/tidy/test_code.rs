//! What of a file is test code, and the file without it.
//!
//! Tests may reach up, go round in circles and be long: the checks of the structure look at what ships.

use std::collections::BTreeSet;

use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{Arm, Attribute, Block, Expr, FieldsNamed, ImplItem, Item, ItemImpl, ItemMod, ItemTrait, Meta};
use syn::{Stmt, Token, TraitItem};

/// Takes the test code out of `file`, and gives the numbers of the lines it was on.
pub(super) fn take_out(file: &mut syn::File) -> BTreeSet<usize> {
    let mut strip = Strip { lines: BTreeSet::new() };
    strip.visit_file_mut(file);
    strip.lines
}

/// Whether what has these attributes is built for tests only.
pub(super) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            list.parse_args::<Meta>().is_ok_and(|condition| needs_test(&condition))
        }
        meta => {
            meta.path().segments.last().is_some_and(|last| last.ident == "test" || last.ident == "rstest")
        }
    })
}

/// Whether `condition` holds in a test build alone. `any(test, …)` and `not(test)` hold elsewhere too.
fn needs_test(condition: &Meta) -> bool {
    let Meta::List(list) = condition else { return condition.path().is_ident("test") };
    let Ok(parts) = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated) else {
        return false;
    };
    match list.path.get_ident() {
        Some(word) if word == "all" => parts.iter().any(needs_test),
        Some(word) if word == "any" => !parts.is_empty() && parts.iter().all(needs_test),
        _ => false,
    }
}

struct Strip {
    lines: BTreeSet<usize>,
}

impl Strip {
    /// Whether `node` stays; else its lines are noted.
    fn keep(&mut self, attributes: &[Attribute], node: &impl Spanned) -> bool {
        let is_test = is_test(attributes);
        if is_test {
            let span = node.span();
            self.lines.extend(span.start().line..=span.end().line);
        }
        !is_test
    }
}

impl VisitMut for Strip {
    fn visit_file_mut(&mut self, file: &mut syn::File) {
        file.items.retain(|item| self.keep(of_item(item), item));
        visit_mut::visit_file_mut(self, file);
    }

    fn visit_item_mod_mut(&mut self, module: &mut ItemMod) {
        if let Some((_, items)) = &mut module.content {
            items.retain(|item| self.keep(of_item(item), item));
        }
        visit_mut::visit_item_mod_mut(self, module);
    }

    fn visit_item_impl_mut(&mut self, block: &mut ItemImpl) {
        block.items.retain(|item| self.keep(of_impl_item(item), item));
        visit_mut::visit_item_impl_mut(self, block);
    }

    fn visit_item_trait_mut(&mut self, definition: &mut ItemTrait) {
        definition.items.retain(|item| self.keep(of_trait_item(item), item));
        visit_mut::visit_item_trait_mut(self, definition);
    }

    fn visit_block_mut(&mut self, block: &mut Block) {
        block.stmts.retain(|statement| self.keep(of_statement(statement), statement));
        visit_mut::visit_block_mut(self, block);
    }

    fn visit_fields_named_mut(&mut self, fields: &mut FieldsNamed) {
        let kept = std::mem::take(&mut fields.named).into_iter();
        fields.named = kept.filter(|field| self.keep(&field.attrs, field)).collect();
        visit_mut::visit_fields_named_mut(self, fields);
    }

    fn visit_expr_match_mut(&mut self, expression: &mut syn::ExprMatch) {
        expression.arms.retain(|arm: &Arm| self.keep(&arm.attrs, arm));
        visit_mut::visit_expr_match_mut(self, expression);
    }
}

fn of_item(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn of_impl_item(item: &ImplItem) -> &[Attribute] {
    match item {
        ImplItem::Const(item) => &item.attrs,
        ImplItem::Fn(item) => &item.attrs,
        ImplItem::Type(item) => &item.attrs,
        ImplItem::Macro(item) => &item.attrs,
        _ => &[],
    }
}

fn of_trait_item(item: &TraitItem) -> &[Attribute] {
    match item {
        TraitItem::Const(item) => &item.attrs,
        TraitItem::Fn(item) => &item.attrs,
        TraitItem::Type(item) => &item.attrs,
        TraitItem::Macro(item) => &item.attrs,
        _ => &[],
    }
}

/// Of expressions, those which are statements in practice: a block, a call, an assignment.
fn of_statement(statement: &Stmt) -> &[Attribute] {
    match statement {
        Stmt::Local(local) => &local.attrs,
        Stmt::Item(item) => of_item(item),
        Stmt::Macro(call) => &call.attrs,
        Stmt::Expr(Expr::Assign(expression), _) => &expression.attrs,
        Stmt::Expr(Expr::Block(expression), _) => &expression.attrs,
        Stmt::Expr(Expr::Call(expression), _) => &expression.attrs,
        Stmt::Expr(Expr::MethodCall(expression), _) => &expression.attrs,
        Stmt::Expr(..) => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_also_holds_elsewhere_is_not_test_code() {
        let of = |text: &str| {
            let item: Item = syn::parse_str(&format!("{text} fn f() {{}}")).unwrap();
            is_test(of_item(&item))
        };
        for text in
            ["#[cfg(test)]", "#[cfg(all(unix, test))]", "#[cfg(any(test))]", "#[tokio::test]", "#[rstest]"]
        {
            assert!(of(text), "{text}");
        }
        for text in ["", "#[cfg(not(test))]", "#[cfg(any(test, unix))]", "#[cfg(unix)]", "#[inline]"] {
            assert!(!of(text), "{text}");
        }
    }

    #[test]
    fn test_code_is_taken_out_wherever_it_stands() {
        let text = "fn f() {\n#[cfg(test)]\nlet a = 1;\nmatch 1 {\n#[cfg(test)]\n0 => {}\n_ => {}\n}\n}\n\
            impl T {\n#[cfg(test)]\nfn g() {}\n}\nstruct S {\n#[cfg(test)]\na: u8,\nb: u8,\n}\n\
            /// Tests.\n#[cfg(test)]\nmod tests {\n}\n";
        let mut file = syn::parse_file(text).unwrap();
        let lines: Vec<usize> = take_out(&mut file).into_iter().collect();
        assert_eq!(lines, [2, 3, 5, 6, 11, 12, 15, 16, 19, 20, 21, 22]);
        assert_eq!(file.items.len(), 3);
    }
}
